"""breaching 0.1.2 behind two pipes: JSON lines in (model, iterations, threads[, given]), JSON lines out.

Runs in a Python that has breaching and torch, and knows nothing of jleak. What is timed is one restart by
breaching's own attacker, `OptimizationBasedAttacker._run_trial` with its configuration `invertinggradients`
(cosine similarity, total variation, Adam on the gradient's sign, boxed), on one image of 32x32x3 with a known
label. The models are written here anew, layer by layer as in `jleak.models`, BatchNorm in eval mode. `given`
names an npz file with weights (w0, w1, ...), an image (x), its label (y) and its gradient (g0, ...), all in
torch's layout: the answer's `found` then names a file with the image that breaching found, and
`gradient_error` is how far the gradient given is from the one computed here.

    echo '{"model": "lenet", "iterations": 10, "threads": 1}' | python bench/peers/breaching_worker.py
"""

import argparse
import importlib.metadata
import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # breaching prints

try:
    import numpy as np
    import torch

    try:
        import torchvision  # noqa: F401  (breaching imports it; nothing of it is used here)
    except RuntimeError:  # its compiled part does not fit this torch: its operators' names are enough
        OPERATORS = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import breaching
    from torch import nn
    from torch_models import MODELS, SHAPE
except ImportError as error:
    print(json.dumps({"missing": str(error)}), file=ANSWERS, flush=True)
    sys.exit(0)

PRECISIONS = {"float32": "highest", "tensorfloat32": "high", "bfloat16": "medium"}
"""What jleak calls the precision of float32 products -> what torch does."""


class Vision:
    """What breaching asks of a data set: pixels in [0, 1] as they are."""

    modality = "vision"
    shape = SHAPE
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)


class Victim:
    """A model with the gradient of one image, and breaching's attacker on it. Random, unless `given`."""

    def __init__(self, name, device, given=None):
        torch.manual_seed(0)
        model, loss = MODELS[name]().to(device).eval(), nn.CrossEntropyLoss()
        x, label = torch.rand(1, *SHAPE, device=device), torch.tensor([3], device=device)
        if given:
            x, label = (torch.from_numpy(given[name]).to(device) for name in "xy")
            for i, weight in enumerate(model.parameters()):
                weight.data = torch.from_numpy(given[f"w{i}"]).to(device).reshape(weight.shape)
        self.parameters = sum(weight.numel() for weight in model.parameters())
        setup = {"dtype": torch.float, "device": device}
        self.config = breaching.get_attack_config("invertinggradients")
        self.attacker = breaching.attacks.prepare_attack(model, loss, self.config, setup)
        gradients = torch.autograd.grad(loss(model(x), label), model.parameters())
        self.error = apart(gradients, given) if given else None
        sent = {"parameters": list(model.parameters()), "buffers": list(model.buffers()), "metadata": Vision}
        about = {"num_data_points": 1, "labels": label, "local_hyperparams": None}
        shared = [{"gradients": gradients, "buffers": None, "metadata": about}]
        self.models, self.labels, self.stats = self.attacker.prepare_attack([sent], shared)
        self.shared = self.attacker._cast_shared_data(shared)

    def run(self, iterations):
        """One restart of so many iterations: its seconds, processor seconds and last objective."""
        self.config.optim.max_iterations = iterations
        self.stats.clear()
        processor, clock = time.process_time(), time.perf_counter()
        self.found = self.attacker._run_trial(self.models, self.shared, self.labels, self.stats, 0)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent = {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
        losses = self.stats["Trial_0_Val"]
        if len(losses) < iterations:
            raise RuntimeError(f"breaching stopped after {len(losses)} of {iterations} iterations")
        return {**spent, "loss": losses[-1], "parameters": self.parameters}


def apart(gradients, given):
    """The largest difference of the gradients from those given, relative to the tensor's largest entry."""
    pairs = [(ours.cpu().numpy(), given[f"g{i}"].reshape(ours.shape)) for i, ours in enumerate(gradients)]
    return float(max(abs(ours - theirs).max() / abs(theirs).max() for ours, theirs in pairs))


def recovered(asked, device):
    """breaching's attack on the weights and the image of the file `asked["given"]`."""
    victim = Victim(asked["model"], device, dict(np.load(asked["given"])))
    answer = victim.run(asked["iterations"])
    found = asked["given"].replace(".npz", "-found.npz")
    np.savez(found, x=victim.found.cpu().numpy())
    return {**answer, "gradient_error": victim.error, "found": found}


def main(precision):
    """Answers requests until there are no more."""
    torch.set_float32_matmul_precision(PRECISIONS[precision])
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    hello = {"breaching": importlib.metadata.version("breaching"), "torch": torch.__version__, "device": name}
    print(json.dumps(hello), file=ANSWERS, flush=True)
    victims = {}
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        if "given" in asked:
            print(json.dumps(recovered(asked, device)), file=ANSWERS, flush=True)
            continue
        if asked["model"] not in victims:
            victims[asked["model"]] = Victim(asked["model"], device)
        print(json.dumps(victims[asked["model"]].run(asked["iterations"])), file=ANSWERS, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    main(parser.parse_args().precision)
