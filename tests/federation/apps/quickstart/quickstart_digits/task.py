"""Model, data, training and testing, with nothing in it that knows where it runs."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    """A small convolutional network for 8x8 images."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(72, 10)

    def forward(self, x):
        return self.out(self.drop(self.features(x).flatten(1)))


@cache
def _digits():
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    return TensorDataset(images, torch.tensor(bunch.target))


def load_data(partition_id, num_partitions, batch_size):
    """This client's loaders: four fifths of its share to train on, the rest to test."""
    whole = _digits()
    share = torch.utils.data.Subset(whole, range(partition_id, 600, num_partitions))
    test_size = len(share) // 5
    train, test = random_split(
        share, [len(share) - test_size, test_size], torch.Generator().manual_seed(42)
    )
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)


def load_central_data():
    """The samples that no client has."""
    whole = _digits()
    return DataLoader(torch.utils.data.Subset(whole, range(1500, len(whole))), 128)


def train(net, loader, epochs, lr):
    """Train in place, return the mean loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    losses = []
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def test(net, loader):
    """Mean loss and accuracy."""
    net.eval()
    correct, loss = 0, 0.0
    with torch.no_grad():
        for images, labels in loader:
            outputs = net(images)
            loss += nn.functional.cross_entropy(outputs, labels, reduction="sum").item()
            correct += (outputs.argmax(1) == labels).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)
