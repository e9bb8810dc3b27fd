"""Checks of `forward`."""

import numpy as np

from mabn_ref.learn.checking import Check, batch, close, moments, root_faults

draw = batch


def judge_z(z, case):
    mu, var = moments(case.x)
    mean, spread = moments(z)
    if not close(mean, case.beta):
        yield "the mean of z over a channel is not beta: y has mean zero, and beta is added last"
    if not close(spread * (var + case.eps), case.gamma**2 * var):
        yield f"the variance of z over a channel is not gamma^2 v / (v + eps), with eps = {case.eps:g}"
    if not close((z - mean) * np.sqrt(var), case.gamma * (case.x - mu) * np.sqrt(spread) / abs(case.gamma)):
        yield "z has the right mean and variance, but is not x times one number per channel, shifted"


def judge_cache(cache, case):
    mu, var = moments(case.x)
    if not close(cache.gamma, case.gamma):
        yield "cache.gamma is not gamma"
    otherwise = f"cache.sigma squared is not the variance plus eps, with eps = {case.eps:g}"
    yield from root_faults("cache.sigma", cache.sigma, var + case.eps, otherwise)
    if not close(cache.y * cache.sigma, case.x - mu):
        yield "cache.y times cache.sigma does not give the centred values back"


CHECKS = (Check.of("forward(x, gamma, beta, eps)", {"z": judge_z, "cache": judge_cache}),)
