"""How an encoder is judged: a linear probe on frozen features, and how far features drift under noise."""
