"""What architectures are built from: backbones, heads, sharing plans and the graph that executes them."""
