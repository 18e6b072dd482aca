"""What a neuron is: the weights of any layer as matrices whose rows are neurons.

Two doors lead here. `module_neurons` knows the modules and reads every weight as it is used;
`tensor_neurons` has names and shapes only and says how it read them in the field `kind`. Both
account for every number: each tensor is in a `NeuronView` or in a `Skipped` with its reason.
"""

from sphuni.nn.neurons._experts import expert_matrices, module_stores_across
from sphuni.nn.neurons._layout import (
    Heads,
    divide_transposed,
    split_of_nothing,
    transposed_rows,
    unwrapped,
)
from sphuni.nn.neurons._modules import module_neurons
from sphuni.nn.neurons._records import NeuronView, Skipped
from sphuni.nn.neurons._tensors import tensor_neurons

__all__ = [
    "Heads",
    "NeuronView",
    "Skipped",
    "divide_transposed",
    "expert_matrices",
    "module_neurons",
    "module_stores_across",
    "split_of_nothing",
    "tensor_neurons",
    "transposed_rows",
    "unwrapped",
]
