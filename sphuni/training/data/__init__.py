"""Data of experiments: read from a folder that the user names, never downloaded."""

from sphuni.training.data._records import Dataset as Dataset
from sphuni.training.data._records import Graph as Graph
from sphuni.training.data._records import MissingDataError as MissingDataError
from sphuni.training.data._records import Samples as Samples
from sphuni.training.data._records import Splits as Splits
from sphuni.training.data.augment import augment as augment
from sphuni.training.data.registry import available as available
from sphuni.training.data.registry import data_folder as data_folder
from sphuni.training.data.registry import load as load
from sphuni.training.data.registry import reason_missing as reason_missing
from sphuni.training.data.registry import stamp as stamp
from sphuni.training.data.split import draw as draw
from sphuni.training.data.transforms import TRANSFORMS as TRANSFORMS
