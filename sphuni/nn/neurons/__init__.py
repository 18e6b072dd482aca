"""What a neuron is: the weights of any layer as matrices whose rows are neurons.

Two doors lead here. `module_neurons` knows the modules and reads every weight as it is used;
`tensor_neurons` has names and shapes only and says how it read them in the field `kind`. Both
account for every number: each tensor is in a `NeuronView` or in a `Skipped` with its reason.
"""

from sphuni.nn.neurons._layout import divide_transposed, transposed_rows
from sphuni.nn.neurons._modules import module_neurons
from sphuni.nn.neurons._records import NeuronView, Skipped
from sphuni.nn.neurons._tensors import tensor_neurons

__all__ = [
    "NeuronView",
    "Skipped",
    "divide_transposed",
    "module_neurons",
    "tensor_neurons",
    "transposed_rows",
]
