"""Helpers of the MedAnalyzr notebooks: French laboratory reports, training runs, checks and figures."""

from medanalyzr.core.errors import MedAnalyzrError

__all__ = ["MedAnalyzrError"]
