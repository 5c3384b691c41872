"""The gradients of SAC's two losses over a share of a minibatch: `sac_critics.py` and
`sac_actor.py` for one thread that computes both.
"""

from covey.algorithms.sac_actor import ActorShare, ActorSums
from covey.algorithms.sac_chunks import Array, Data, Rooms
from covey.algorithms.sac_critics import CriticShare, CriticSums
from covey.algorithms.sac_networks import Networks


class Share:
    """One thread's rows of every minibatch, and its gradients as flat vectors; see `ActorShare`."""

    def __init__(
        self, networks: Networks, data: Data, noise: Array, batch_size: int, ahead: bool = False
    ) -> None:
        rooms = Rooms(networks)
        self.actor = ActorShare(networks, data, noise, batch_size, rooms, ahead)
        self._critics = CriticShare(networks, data, batch_size, rooms)
        self.actor_gradient, self.critic_gradient = self.actor.gradient, self._critics.gradient

    def critic_step(self, alpha: float) -> CriticSums:
        """Write `critic_gradient` and the rows' errors."""
        self.actor.follow()
        return self._critics.step(alpha)

    def actor_step(self, alpha: float) -> ActorSums:
        """Write `actor_gradient`. The inputs' actions are replaced by the policy's."""
        return self.actor.step(alpha)
