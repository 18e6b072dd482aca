"""Losses on angles."""

from sphuni.nn.losses.margin import LambdaAnneal as LambdaAnneal
from sphuni.nn.losses.margin import psi as psi
from sphuni.nn.losses.metric import AlignmentLoss as AlignmentLoss
from sphuni.nn.losses.metric import CenterLoss as CenterLoss
from sphuni.nn.losses.metric import ContrastiveLoss as ContrastiveLoss
from sphuni.nn.losses.metric import TripletLoss as TripletLoss
from sphuni.nn.losses.metric import center as center
from sphuni.nn.losses.metric import contrastive as contrastive
from sphuni.nn.losses.metric import triplet as triplet
from sphuni.nn.losses.softmax import ASoftmaxLoss as ASoftmaxLoss
from sphuni.nn.losses.softmax import GASoftmaxLoss as GASoftmaxLoss
from sphuni.nn.losses.softmax import SSoftmaxLoss as SSoftmaxLoss
from sphuni.nn.losses.softmax import WSoftmaxLoss as WSoftmaxLoss
from sphuni.nn.losses.softmax import angular_logits as angular_logits
from sphuni.nn.losses.softmax import angular_softmax as angular_softmax
