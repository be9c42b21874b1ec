"""Gene circuit: two learned landscapes and the split of their blend."""

from studies.gene_circuit import study as study
