"""The loop of GGL's reference code behind two pipes: JSON lines in (model, iterations, threads), and out.

Runs in a Python that has torch and nevergrad, and knows nothing of jleak. As the reference works (Li et al.,
CVPR 2022, its CelebA code): nevergrad's CMA over 128 latents is asked for 50 candidates a round; each goes by
itself through the generator of 1.7 million parameters (random weights) and the victim's gradient, which is
compared by the mean over tensors of the squared distance, plus 0.1 KL; then all are told. `given` names an
npz file with the victim's weights (w0, w1, ...), its label (y), its update (g0, ...) and the generator's
state by torch's names; `seed` is nevergrad's. The answer holds the lowest loss after every round.

    echo '{"model": "lenet", "iterations": 4, "threads": 1}' | python bench/peers/ggl_worker.py
"""

import importlib.metadata
import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

try:
    import nevergrad
    import numpy as np
    import torch
    from torch import nn
    from torch_models import MODELS, SHAPE
except ImportError as error:
    print(json.dumps({"missing": str(error)}), file=ANSWERS, flush=True)
    sys.exit(0)

LATENT, CANDIDATES = 128, 50


class Generator(nn.Module):
    """The generator of GGL's faces: 4x4x512, then transposed convolutions of kernel and stride 2."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(LATENT, 8192), nn.BatchNorm1d(8192), nn.ReLU())
        self.rest = nn.Sequential(
            nn.ConvTranspose2d(512, 256, 2, 2), nn.BatchNorm2d(256), nn.ReLU(),
            nn.ConvTranspose2d(256, 128, 2, 2), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 3, 2, 2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return 0.5 + 0.5 * self.rest(self.dense(z).view(-1, 512, 4, 4))


class Search:
    """One victim, its update, and nevergrad's CMA on the latents. Random, unless `given`."""

    def __init__(self, name, device, given=None, seed=0):
        torch.manual_seed(0)
        self.device, self.loss = device, nn.CrossEntropyLoss()
        self.model, self.generator = MODELS[name]().to(device).eval(), Generator().to(device).eval()
        self.label = torch.tensor([3], device=device)
        if given:
            self.take(given)
        else:
            self.update = [g.detach() for g in self.gradient(torch.rand(1, *SHAPE, device=device))]
        space = nevergrad.p.Array(init=np.zeros(LATENT))
        space.random_state = np.random.RandomState(seed)
        self.optimizer = nevergrad.optimizers.registry["CMA"](parametrization=space, budget=500)
        self.parameters = sum(weight.numel() for weight in self.generator.parameters())

    def take(self, given):
        given = {name: torch.from_numpy(array).to(self.device) for name, array in given.items()}
        self.label = given["y"]
        weights = list(self.model.parameters())
        for i, weight in enumerate(weights):
            weight.data = given[f"w{i}"].reshape(weight.shape)
        self.update = [given[f"g{i}"].reshape(weight.shape) for i, weight in enumerate(weights)]
        state = {name: given[name] for name in self.generator.state_dict() if name in given}
        self.generator.load_state_dict(state, strict=False)

    def gradient(self, x):
        return torch.autograd.grad(self.loss(self.model(x), self.label), self.model.parameters())

    def value(self, z):
        z = torch.tensor(z, dtype=torch.float32, device=self.device)[None]
        with torch.no_grad():
            x = self.generator(z)
        pairs = list(zip(self.gradient(x), self.update, strict=True))
        apart = sum(((a - b) ** 2).sum() for a, b in pairs) / len(pairs)
        m, s = z.mean(), z.std(unbiased=False)
        return (apart - 0.05 * (1 + torch.log(s**2 + 1e-10) - m**2 - s**2)).item()

    def run(self, rounds):
        processor, clock = time.process_time(), time.perf_counter()
        lowest = []
        for _ in range(rounds):
            asked = [self.optimizer.ask() for _ in range(CANDIDATES)]
            losses = [self.value(one.value) for one in asked]
            for one, loss in zip(asked, losses, strict=True):
                self.optimizer.tell(one, loss)
            lowest.append(min([*losses, *lowest[-1:]]))
        spent = {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
        counts = {"evaluations": rounds * CANDIDATES, "parameters": self.parameters}
        return {**spent, **counts, "lowest": lowest}


def main():
    """Answers requests until there are no more."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    hello = {"nevergrad": importlib.metadata.version("nevergrad"), "torch": torch.__version__, "device": name}
    print(json.dumps(hello), file=ANSWERS, flush=True)
    searches = {}
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        if "given" in asked:
            search = Search(asked["model"], device, dict(np.load(asked["given"])), asked["seed"])
            print(json.dumps(search.run(asked["iterations"])), file=ANSWERS, flush=True)
            continue
        if asked["model"] not in searches:
            searches[asked["model"]] = Search(asked["model"], device)
        print(json.dumps(searches[asked["model"]].run(asked["iterations"])), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
