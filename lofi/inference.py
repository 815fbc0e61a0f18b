"""LoFi for a model reference: `lofi.inference:load`; the work is done in `lofi.adapter`."""

from lofi.adapter import LofiAdapter, load

__all__ = ["LofiAdapter", "load"]
