"""Accelerators: recorded trees, a stand-in for the NVIDIA driver's library, and real pods."""
