"""What every test shares: two threads, so that times and last bits do not depend on the machine."""

import torch

torch.set_num_threads(2)
