"""Gene circuit: two learned landscapes and the splitting of the well of their blend."""

from studies.gene_circuit import study as study
