"""RWMOE: random walks on a run's own connectivity graph, and mixtures of experts over regions and over time.

An independent implementation after the abstract of arXiv 2508.16597; the choices are those of docs/methods.md, section
5. The balance loss is that of Fedus et al. (2022, Switch Transformers, section 2.2), the router's z-loss that of Zoph
et al. (2022, ST-MoE, section 3). Symbols: n runs, B pieces, N patches, R regions, D width, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.models.scales import valid_points
from bids_neurossm.ops import dropout

#: Two of the experts are asked.
TOP = 2


class Routing(NamedTuple):
    """What a router decided.

    Attributes
    ----------
    weights : Tensor (..., E)
        Zero but for the two experts that are asked, whose weights add up to 1.
    loss : Tensor ()
        Balance loss and z-loss, weighed.
    """

    weights: Tensor
    loss: Tensor


def connectivity_graph(series: Tensor, lengths: Tensor, runs: Tensor, edges: float) -> Tensor:
    """Return the transition probabilities of a walk on each run's own graph, (n, R, R).

    Parameters
    ----------
    series : Tensor (B, T, R)
        Standardised contiguous pieces, padded at the end.
    lengths : Tensor (B,)
        Valid time points.
    runs : Tensor (B,)
        Which run each piece is of, 0 to n - 1.
    edges : float
        Share of all pairs of regions that are joined: those with the largest correlations, where these are positive.

    Notes
    -----
    A region without an edge stays where it is (a self-loop); in a run without a positive correlation all do, and the
    walk leaves the features as they are. The graph is data: no gradient flows through it.
    """
    with torch.no_grad():
        n_runs, n_regions = int(runs.max()) + 1, series.shape[2]
        valid = valid_points(series, lengths)
        values = torch.where(valid, series, 0).float()
        membership = functional.one_hot(runs, n_runs).to(values.dtype).T
        counts = (membership @ lengths.to(values.dtype)).clamp_min(1)
        mean = membership @ values.sum(dim=1) / counts[:, None]
        values = torch.where(valid, values - mean[runs][:, None], 0)
        products = torch.einsum("nb,bij->nij", membership, values.mT @ values)
        size = products.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        scale = size[:, :, None] * size[:, None, :]
        correlation = torch.where(scale > 0, products / scale.clamp_min(1e-12), 0)
        upper = torch.triu_indices(n_regions, n_regions, offset=1, device=series.device)
        pairs = correlation[:, upper[0], upper[1]].clamp(0, 1)
        kept = max(1, round(edges * pairs.shape[1]))
        if pairs.shape[1]:
            least = pairs.topk(min(kept, pairs.shape[1]), dim=1).values[:, -1:]
            pairs = torch.where(pairs >= least, pairs, 0)
        graph = torch.zeros_like(correlation)
        graph[:, upper[0], upper[1]] = pairs
        graph = graph + graph.mT
        alone = graph.sum(dim=2) <= 0
        graph = graph + torch.diag_embed(alone.to(graph.dtype))
        return graph / graph.sum(dim=2, keepdim=True)


def regions_with_signal(series: Tensor, lengths: Tensor, runs: Tensor) -> Tensor:
    """Tell which regions of each run are not 0 all the time, (n, R), bool; arguments as of `connectivity_graph`."""
    moved = torch.where(valid_points(series, lengths), series, 0).ne(0).any(dim=1)
    return torch.stack([moved[runs == run].any(dim=0) for run in range(int(runs.max()) + 1)])


def random_walk(tokens: Tensor, transition: Tensor, steps: int, restart: float) -> Tensor:
    """Return [U_0 .. U_K] (B, R, N, (K + 1) D): the tokens, and what a walk with restart finds in 1 to K steps.

    U_k = (1 - restart) P U_{k-1} + restart U_0, with P (B, R, R) the transition probabilities of each piece's run.
    """
    start = tokens.flatten(2)
    found, here = [tokens], start
    for _ in range(steps):
        here = torch.baddbmm(start, transition.to(start.dtype), here, beta=restart, alpha=1 - restart)
        found.append(here.view(tokens.shape))
    return torch.cat(found, dim=3)


class GraphProfiles(nn.Module):
    """Where walks from each region of a run lead, less where they lead on the usual graph, in a learnt code of regions.

    A run's graph tells who is who, but most of it is alike in everybody: what is alike is taken off, so that what is
    left has the size of the differences between runs.

    Parameters
    ----------
    n_regions, width : int
        R; numbers of each region's code.
    steps : int
        K of the walk.
    restart : float
        Share of each step that goes back to the start.

    Attributes
    ----------
    code : Parameter (R, width)
        Of every region. Random codes keep what a graph tells, as random projections do; learning turns them.
    usual : Tensor (R, R)
        Mean transition probabilities of the training runs.
    spread : Tensor (K width,)
        Root mean square over the training runs' profiles, which are divided by it.
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, n_regions: int, width: int, steps: int, restart: float) -> None:
        super().__init__()
        self.steps, self.restart = steps, restart
        self.code = nn.Parameter(torch.randn(n_regions, width))
        self.register_buffer("usual", torch.zeros(n_regions, n_regions))
        self.register_buffer("spread", torch.ones(steps * width))

    def forward(self, transition: Tensor, signal: Tensor) -> Tensor:
        """Return the profiles (n, R, K width) of graphs (n, R, R); 0 of regions without `signal` (n, R), bool."""
        # In single precision: differences of numbers that are nearly alike.
        with torch.autocast(transition.device.type, enabled=False):
            graphs = torch.cat([transition.float(), self.usual[None]])
            start = self.code[None, :, None].expand(len(graphs), -1, -1, -1)
            found = random_walk(start, graphs, self.steps, self.restart)[:, :, 0, self.code.shape[1] :]
            return (found[:-1] - found[-1:]) / self.spread * signal[..., None]

    def measure(self, transitions: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> None:
        """Set the usual graph and the spread from the graphs and signals of training runs, gone through twice.

        Raises
        ------
        ValueError
            If there are none.
        """
        total, runs = torch.zeros_like(self.usual, dtype=torch.float64), 0
        for graphs, _ in transitions():
            total += graphs.double().sum(dim=0)
            runs += len(graphs)
        if not runs:
            raise ValueError("There are no graphs to measure.")
        self.usual.copy_(total / runs)
        self.spread.fill_(1.0)
        squares, counts = torch.zeros_like(self.spread, dtype=torch.float64), 0
        with torch.no_grad():
            for graphs, signal in transitions():
                squares += self(graphs, signal).double().square().sum(dim=(0, 1))
                counts += int(signal.sum())
        spread = (squares / max(counts, 1)).sqrt()
        # Where all graphs are alike there is nothing to tell, and nothing to divide by.
        self.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))


class Router(nn.Module):
    """Softmax over the experts, of which the two best are asked.

    Parameters
    ----------
    width, experts : int
        Of what is routed; E.
    balance, z : float
        Weights of the balance loss and of the z-loss.
    """

    def __init__(self, width: int, experts: int, balance: float, z: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.choice = nn.Linear(width, experts, bias=False)
        nn.init.normal_(self.choice.weight, std=width**-0.5)
        self.balance, self.z = balance, z

    def forward(self, features: Tensor, present: Tensor) -> Routing:
        """Route features (..., width); what is not `present` (...), bool, counts in no loss and has no weights."""
        # In single precision: a softmax over experts decides, and its losses square logarithms.
        with torch.autocast(features.device.type, enabled=False):
            logits = self.choice(self.norm(features.float()))
            probabilities = torch.softmax(logits, dim=-1)
            best = probabilities.topk(min(TOP, logits.shape[-1]), dim=-1)
            weights = torch.zeros_like(probabilities).scatter(
                -1, best.indices, best.values / best.values.sum(dim=-1, keepdim=True)
            )
            here = present[..., None].to(weights.dtype)
            loss = self.balance * balance_loss(probabilities, weights, here) + self.z * z_loss(logits, here)
        return Routing(weights * here, loss)


def balance_loss(probabilities: Tensor, weights: Tensor, present: Tensor) -> Tensor:
    """Return E sum_e f_e p_e: 1 where the experts are asked evenly, E / 2 where all goes to the same two.

    f_e is the share of askings that goes to expert e, p_e the mean of its probabilities (..., E); `present` (..., 1).
    """
    experts = probabilities.shape[-1]
    total = present.sum().clamp_min(1)
    asked = ((weights > 0) * present).reshape(-1, experts).sum(dim=0)
    asked = asked / asked.sum().clamp_min(1)
    mean = (probabilities * present).reshape(-1, experts).sum(dim=0) / total
    return experts * (asked * mean).sum()


def z_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Return the mean square of log sum exp of a router's logits (..., E), which keeps them small."""
    squares = torch.logsumexp(logits, dim=-1, keepdim=True).square()
    return (squares * present).sum() / present.sum().clamp_min(1)


class Experts(nn.Module):
    """E networks of two layers side by side; between the layers stands what the weights of the experts are put to.

    Parameters
    ----------
    inputs, outputs, experts : int
        Width of the features and of what each makes of them; E.
    dropout : float
        Behind the first layer.
    """

    def __init__(self, inputs: int, outputs: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.experts, self.dropout = experts, dropout
        self.first = nn.Linear(inputs, experts * outputs)
        self.second = nn.Parameter(torch.randn(experts, outputs, outputs) * outputs**-0.5)

    def inner(self, features: Tensor) -> Tensor:
        """Map (..., inputs) to (..., E, outputs): the first layer of all experts."""
        made = functional.gelu(self.first(features))
        kept = dropout(made, self.dropout, self.training)
        return kept.view(*kept.shape[:-1], self.experts, -1)

    def asked(self, features: Tensor, which: Tensor) -> Tensor:
        """Map (B, R, N, inputs) to (B, R, J, outputs, N): the first layer of J experts alone, `which` (B, R, J, E)."""
        outputs = self.second.shape[1]
        # Picked by a product with ones and zeros: sums of gradients by index have no fixed order.
        weight = (which @ self.first.weight.view(self.experts, -1)).view(*which.shape[:3], outputs, -1)
        bias = which @ self.first.bias.view(self.experts, outputs)
        made = torch.matmul(weight.flatten(2, 3), features.mT).view(*bias.shape, -1)
        return dropout(functional.gelu(made + bias[..., None]), self.dropout, self.training)

    def outer(self, inner: Tensor) -> Tensor:
        """Map (..., E, outputs) to the same shape: the second layer, which is linear, so that sums may precede it."""
        return torch.einsum("...ew,ewv->...ev", inner, self.second.to(inner.dtype))
