"""Discovery: the number of modes and of wells by model selection."""

from studies.discovery import study as study
