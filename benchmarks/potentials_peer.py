"""Training steps of nequip and MACE on torch, in a process of their own.

`python potentials_peer.py nequip GRAPH.npz STEPS` and `python potentials_peer.py mace3 GRAPH.npz
STEPS` (`mace1`: correlation 1) print seconds a step, minimum and median. GRAPH holds positions,
species, senders, receivers and component, 64-bit integers and float32.
"""

import os
import sys
import time

# e3nn reads its own coefficients by a pickle that torch >= 2.6 refuses unless told so.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

CHANNELS, LAYERS, DEGREE, CUTOFF, NEIGHBOURS = 64, 2, 2, 5.0, 12.0


def nequip(arrays: dict):
    from nequip.model import model_from_config

    config = {
        "model_builders": ["EnergyModel", "ForceOutput"],
        "r_max": CUTOFF, "num_layers": LAYERS, "nonlinearity_type": "gate", "num_basis": 8,
        "PolynomialCutoff_p": 6, "invariant_layers": 2, "invariant_neurons": 64,
        "avg_num_neighbors": NEIGHBOURS, "use_sc": True, "num_types": 3,
        "type_names": ["H", "C", "O"], "chemical_symbols": ["H", "C", "O"],
        # Natural parity only, as ours.
        "chemical_embedding_irreps_out": f"{CHANNELS}x0e",
        "feature_irreps_hidden": f"{CHANNELS}x0e+{CHANNELS}x1o+{CHANNELS}x2e",
        "irreps_edge_sh": "1x0e+1x1o+1x2e",
        "conv_to_output_hidden_irreps_out": f"{CHANNELS // 2}x0e",
    }  # fmt: skip
    model = model_from_config(config, initialize=False)
    batch = {
        "pos": arrays["positions"],
        "edge_index": torch.stack([arrays["receivers"], arrays["senders"]]),
        "atom_types": arrays["species"][:, None],
        "batch": arrays["component"],
        "ptr": arrays["ptr"],
    }

    def run():
        found = model(dict(batch))
        return found["total_energy"].ravel(), found["forces"]

    return model, run


def mace(order: int):
    def build(arrays: dict):
        from e3nn import o3
        from mace import modules

        block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
        model = modules.ScaleShiftMACE(
            atomic_inter_scale=1.0, atomic_inter_shift=0.0, r_max=CUTOFF, num_bessel=8,
            num_polynomial_cutoff=6, max_ell=DEGREE, interaction_cls=block,
            interaction_cls_first=block, num_interactions=LAYERS, num_elements=3,
            hidden_irreps=o3.Irreps(f"{CHANNELS}x0e+{CHANNELS}x1o"),
            MLP_irreps=o3.Irreps("16x0e"), atomic_energies=np.zeros(3),
            avg_num_neighbors=NEIGHBOURS, atomic_numbers=[1, 6, 8], correlation=order,
            gate=torch.nn.functional.silu,
        )  # fmt: skip
        count = len(arrays["senders"])
        batch = {
            "positions": arrays["positions"],
            "node_attrs": torch.nn.functional.one_hot(arrays["species"], 3).float(),
            "edge_index": torch.stack([arrays["senders"], arrays["receivers"]]),
            "shifts": torch.zeros(count, 3), "unit_shifts": torch.zeros(count, 3),
            "cell": torch.zeros(3 * (len(arrays["ptr"]) - 1), 3),
            "batch": arrays["component"], "ptr": arrays["ptr"],
            "head": torch.zeros(len(arrays["ptr"]) - 1, dtype=torch.int64),
        }  # fmt: skip

        def run():
            batch["positions"] = batch["positions"].detach()
            found = model(dict(batch), training=True)
            return found["energy"], found["forces"]

        return model, run

    return build


MODELS = {"nequip": nequip, "mace1": mace(1), "mace3": mace(3)}

if __name__ == "__main__":
    name, path, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.manual_seed(0)
    arrays = {key: torch.from_numpy(value) for key, value in np.load(path).items()}
    model, run = MODELS[name](arrays)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = []
    for _ in range(steps + 3):
        start = time.perf_counter()
        optimiser.zero_grad()
        energies, forces = run()
        (torch.mean(energies**2) + torch.mean(forces**2)).backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    print("parameters", sum(p.numel() for p in model.parameters()))
    print("seconds", min(seconds[3:]), float(np.median(seconds[3:])))
