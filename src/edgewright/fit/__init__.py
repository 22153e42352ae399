"""A detector, a data set and a budget in; a fitted artifact and the evidence for it out."""

from edgewright.fit.budget import Budget
from edgewright.fit.request import FitRequest
from edgewright.fit.search import fit

__all__ = ["Budget", "FitRequest", "fit"]
