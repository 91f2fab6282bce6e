"""Score distillation: the loss, its noise levels, its targets."""
