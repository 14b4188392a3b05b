"""Trajectory balance on the hypergrid with gfnx: the peer of `cargo xtask lab-bench`. README.md has the protocol.

    python hypergrid.py SIDE DIM BATCH REWARD SEED        REWARD: easy, hard or torchgfn

gfnx provides the environment, the rollout and the log-probabilities of a trajectory. The training step is written here.
Everything is one compiled program: Python requests a number of iterations and waits.
"""

import os
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gfnx import GeneralHypergridRewardModule, HypergridEnvironment
from gfnx.utils import forward_rollout, forward_trajectory_log_probs

REWARDS = {"easy": (1e-3, 0.5, 2.0), "hard": (1e-4, 1.0, 3.0), "torchgfn": (0.1, 0.5, 2.0)}
PARAMETERS = {(8, 2): 71_429, (8, 4): 76_553, (20, 4): 88_841}
WIDTH, LAYERS, RATE, LOG_Z_RATE = 256, 2, 1e-3, 0.1


def trainer(side, dim, batch, reward, seed):
    """Returns the state before training, and a compiled function (state, iterations) -> state."""
    env = HypergridEnvironment(GeneralHypergridRewardModule(*REWARDS[reward]), dim=dim, side=side)
    env_key, net_key, key = jax.random.split(jax.random.PRNGKey(seed), 3)
    env_params = env.init(env_key)
    # The outputs are dim + 1 forward logits, then dim backward logits.
    mlp = eqx.nn.MLP(dim * side, 2 * dim + 1, WIDTH, LAYERS, activation=jax.nn.relu, key=net_key)
    net, static = eqx.partition(mlp, eqx.is_array)
    count = sum(x.size for x in jax.tree.leaves(net))
    if count != PARAMETERS.get((side, dim), count):
        sys.exit(f"the network has {count} parameters, wanted {PARAMETERS[side, dim]}")

    def policy(_, obs, net):
        logits = jax.vmap(eqx.combine(net, static))(obs)
        forward, backward = logits[:, : dim + 1], logits[:, dim + 1 :]
        return forward, {"forward_logits": forward, "backward_logits": backward}

    def loss(params, trajectories, log_reward):
        net, log_z = params
        obs = trajectories.obs
        _, info = policy(None, obs.reshape(-1, obs.shape[-1]), net)
        info = {name: logits.reshape(*obs.shape[:2], -1) for name, logits in info.items()}
        log_pf, log_pb = forward_trajectory_log_probs(env, trajectories.replace(info=info), env_params)
        return jnp.mean((log_z + log_pf - log_pb - log_reward) ** 2)

    adam = optax.multi_transform({"net": optax.adam(RATE), "log_z": optax.adam(LOG_Z_RATE)}, ("net", "log_z"))

    def step(_, state):
        key, params, moments = state
        key, rollout_key = jax.random.split(key)
        trajectories, info = forward_rollout(rollout_key, batch, policy, params[0], env, env_params)
        gradient = jax.grad(loss)(params, trajectories, info["log_gfn_reward"])
        updates, moments = adam.update(gradient, moments, params)
        return key, optax.apply_updates(params, updates), moments

    train = jax.jit(lambda state, n: jax.lax.fori_loop(0, n, step, state), donate_argnums=0)
    params = (net, jnp.zeros(()))
    return (key, params, adam.init(params)), train


def exact_l1(net, side, dim, reward):
    """Returns sum |p(x) - R(x)/Z| in float64, with the exact p from dynamic programming over the grid."""
    layers = [(np.asarray(l.weight, np.float64), np.asarray(l.bias, np.float64)) for l in net.layers]
    states = np.indices((side,) * dim).reshape(dim, -1).T
    # The input is one-hot, so the first layer is a sum of columns.
    weight, bias = layers[0]
    hidden = bias + sum(weight.T[i * side + states[:, i]] for i in range(dim))
    for weight, bias in layers[1:]:
        hidden = np.maximum(hidden, 0.0) @ weight.T + bias
    logits = hidden[:, : dim + 1]
    logits[:, :dim][states == side - 1] = -np.inf
    probability = np.exp(logits - logits.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)

    strides = side ** np.arange(dim - 1, -1, -1)
    flow = np.zeros(len(states))
    flow[0] = 1.0
    level = states.sum(1)
    for depth in range(dim * (side - 1)):
        at = np.flatnonzero(level == depth)
        for i in range(dim):
            inside = at[states[at, i] < side - 1]
            flow[inside + strides[i]] += flow[inside] * probability[inside, i]
    learned = flow * probability[:, dim]

    # The bands need integer arithmetic, because for some sides the edge of a band is a grid point.
    u, n = np.abs(2 * states - (side - 1)), side - 1
    r0, r1, r2 = REWARDS[reward]
    target = r0 + r1 * (2 * u > n).all(1) + r2 * ((10 * u > 6 * n) & (10 * u < 8 * n)).all(1)
    return np.abs(learned - target / target.sum()).sum()


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    side, dim, batch, reward, seed = (*map(int, sys.argv[1:4]), sys.argv[4], int(sys.argv[5]))
    state, train = trainer(side, dim, batch, reward, seed)
    state = jax.block_until_ready(train(state, 1))
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["run", iterations]:
                wall, cpu = time.perf_counter(), time.process_time()
                state = jax.block_until_ready(train(state, int(iterations)))
                print(f"{time.perf_counter() - wall:.9f} {time.process_time() - cpu:.9f}", flush=True)
            case ["l1"]:
                print(f"{exact_l1(state[1][0], side, dim, reward):.9f}", flush=True)
            case _:
                sys.exit(f"{sys.argv[0]}: got {line.strip()!r} on standard input, wanted 'run N' or 'l1'")


if __name__ == "__main__":
    main()
