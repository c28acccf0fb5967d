"""Linear maps as the Transformer's authors initialise them: Xavier uniform weights, zero biases."""

from torch import Tensor, nn

from heedful.kernels.product import linear


class Linear(nn.Linear):
    """y = xW^T + b with W ~ U(-a, a), a = sqrt(6 / (in + out)) (Glorot & Bengio 2010), and b = 0."""

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """y."""
        return linear(input, self.weight, self.bias)
