"""Discovery: the numbers of modes and wells by model selection."""

from studies.discovery import study as study
