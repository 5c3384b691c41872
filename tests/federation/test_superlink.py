"""A real SuperLink and SuperNodes on loopback, with TLS and node authentication.

Two of them are started once, by the parts that `engine: superlink` is made of; jobs reach them by
address.
"""

import os
import secrets
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest_superlink import APPS, close, federated
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
