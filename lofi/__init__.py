"""LoFi: its model, losses, training, inference and ablation."""
