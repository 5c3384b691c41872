"""The algorithms a job file can name: one line each."""

from covey.algorithms.ppo import PPOConfig

AlgorithmConfig = PPOConfig
