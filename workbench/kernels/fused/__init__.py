"""The fused Triton versions, module for module beside their plain references; importing one needs Triton."""
