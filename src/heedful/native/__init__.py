"""What is compiled for this processor when it is first wanted: C++ that takes PyTorch's place where that is slower."""
