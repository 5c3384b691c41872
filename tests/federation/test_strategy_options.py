import pytest

from covey.platform.errors import JobFileError

FIXED, ADAPTIVE = {"clipping": "fixed"}, {"clipping": "adaptive"}


def strategy(name, **options):
    return {"strategy": {"name": name, **options}}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (strategy("fedprox", muu=1), "federated.strategy.muu: unknown key, nearest is mu"),
        (strategy("fedavg", mu=1), "unknown key; allowed are share, name"),
        (strategy("fedprox", mu=-1), "federated.strategy.mu: found -1, allowed is a number >= 0"),
        (strategy("krumm"), "found 'krumm', allowed are bulyan, fedadagrad"),
        (strategy("krumm"), "nearest is krum"),
        ({"strategy": {"mu": 1}}, "federated.strategy.name: is missing, allowed are bulyan"),
        (strategy("fedavgm", momentum=1), "allowed is a number >= 0 and < 1"),
        (strategy("krum", malicious=2), "a cohort of 7 or more, not 6; write 1 or less"),
        (strategy("multi-krum", malicious=2), "a cohort of 7 or more, not 6; write 1 or less"),
        (strategy("multi-krum", select=6, malicious=1), "cohort - malicious = 5 or less"),
        (strategy("bulyan", malicious=1), "a cohort of 7 or more, not 6; write 0 or less"),
        ({**strategy("bulyan"), "cohort": 2}, "a cohort of 3 or more, not 2"),
        (strategy("trimmed-mean", beta=0.5), "found 0.5, allowed is a number >= 0 and < 0.5"),
        (strategy("trimmed-mean", beta=0.1), "cuts nobody off a cohort of 6; write 0.167 or"),
        ({**strategy("trimmed-mean"), "cohort": 2}, "raise cohort to 3 or more"),
        ({"differential_privacy": {}}, "privacy.clipping: is missing, allowed are adaptive, fixed"),
        ({"differential_privacy": {**FIXED, "noise": 1}}, "privacy.noise: unknown key"),
        ({"differential_privacy": {**FIXED, "noise_multiplier": 0}}, "allowed is a number > 0"),
        ({"differential_privacy": ADAPTIVE}, "less than 2 * count_deviation = 0.6"),
        ({**strategy("median"), "differential_privacy": FIXED}, "allowed are fedavg, fedprox"),
        ({"compression": {"kind": "top-k", "fraction": 0}}, "a number > 0 and <= 1"),
        ({"compression": {"kind": "quantised", "bits": 17}}, "a whole number >= 1 and <= 16"),
        ({"compression": {"kind": "quantized"}}, "nearest is quantised"),
        ({"compression": {"kind": "top-k", "bits": 8}}, "allowed are kind, fraction"),
        (
            {**strategy("scaffold"), "compression": {"kind": "top-k"}},
            "federated.compression: cannot stand beside scaffold",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_can(parse, section, words):
    with pytest.raises(JobFileError) as caught:
        parse(federated=section)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("beta", [0.2, 0.167, 0])
def test_what_the_line_proposes_works(parse, beta):
    assert parse(federated=strategy("trimmed-mean", beta=beta)).section.strategy.beta == beta


@pytest.mark.parametrize("key", ["differential_privacy", "compression"])
def test_an_app_folder_brings_its_own(parse, key):
    value = {"differential_privacy": FIXED, "compression": {"kind": "top-k"}}[key]
    with pytest.raises(JobFileError, match=f"federated.{key}: is for built-in apps"):
        parse(app="memory", federated={key: value})
