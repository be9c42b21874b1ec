"""Settings with which every study runs in seconds."""

__all__ = ["SMALL"]

SMALL = {
    "gene_circuit": {
        "starts": 24,
        "trajectories": 8,
        "samples": 5,
        "steps": 12,
        "restarts": 1,
        "held_out": 6,
        "grid": 9,
        "members": 1,
        "modes": 2,
        "hidden": [4, 4],
        "moments": 5,
        "resolution": 6,
    },
    "wells": {"samples": 30, "validation": 10, "members": 2, "modes": 3, "hidden": [4, 4], "steps": 8, "epochs": 20,
              "every": 10, "restarts": 1, "grid": 9},
    "discovery": {"samples": 30, "noise": [0.0, 0.05], "modes": 2, "hidden": [4, 4], "steps": 8, "restarts": 1,
                  "bounds": [0.0, 2.0], "fits": 1, "grid": 9},
    "schlogl": {"trajectories": 12, "times": 4, "final": 0.4, "judged": [0.2], "folds": 2, "slice_folds": 2, "modes": 2,
                "hidden": [3], "steps": 3},
    "mechanochemical": {"samples": 30, "test": 6, "members": 2, "modes": 2, "hidden": [3, 3], "steps": 4,
                        "curve": [10], "augmented": 20, "starts": 8, "grid": 5},
    "crossings": {"samples": 120, "test": 10, "members": 2, "modes": 3, "hidden": [4, 4], "steps": 30, "heights": [2.0],
                  "count": 16, "end": 100.0, "halvings": 2, "starts": 16, "grid": 9, "temperature": 0.5},
    "rossi": {"paths": 8, "test": 4, "samples": 12, "modes": 1, "hidden": [4], "operators": 2, "steps": 4, "polish": 2,
              "internal": 2, "node_hidden": [4], "widths": [4], "node_steps": 4, "grid": 5},
}  # fmt: skip
