/* The numbers of the playground. tests/docs/test_playground.py holds them against the package, in a browser. */
"use strict";

const numbers = (() => {
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;
  const times = (a, b) => a.map((value, i) => value * b[i]);

  /* Exponential moving averages before and after each value: mabn_ref.norms.common.ema. */
  function ema(old, values, decay) {
    const averages = [old];
    for (const value of values) averages.push(decay * averages[averages.length - 1] + (1 - decay) * value);
    return [averages.slice(0, -1), averages.slice(1)];
  }

  /* Simple moving averages, and the window for the next call: mabn_ref.norms.common.sma. */
  function sma(held, values, seen = null) {
    const rows = [...held, ...values];
    const window = held.length;
    const averages = values.map((_, t) => {
      const count = seen === null ? window : Math.min(seen + t + 1, window);
      return sum(rows.slice(t + 1, t + 1 + window)) / count;
    });
    return [averages, rows.slice(values.length)];
  }

  /* What Theorem 1 and the page on moving averages say of an average that has run for long, under a steady drift. */
  const ofSimple = (window) => ({ late: (window - 1) / 2, variance: 1 / window });
  const ofExponential = (decay) => ({ late: decay / (1 - decay), variance: (1 - decay) / (1 + decay) });

  /* The passes below are lists of steps in order. `name` is the variable of the package's source and `line` its line
     there; `node` is the place in the graph where the value is shown. */
  function steps() {
    const list = [];
    const add = (pass) => (node, name, line, value, why) => {
      list.push({ pass, node, name, line, value, why });
      return value;
    };
    return { list, forward: add("forward"), backward: add("backward") };
  }

  const affineBackward = (backward, dz, scaled) => {
    backward("beta", "dbeta", "dbeta = total(dz)", sum(dz), "β is added to every value: its gradient is the sum.");
    const line = scaled.renormalised ? "dgamma = total(dz * (r * y))" : "dgamma = total(dz * y)";
    backward("gamma", "dgamma", line, sum(times(dz, scaled.y)), "γ multiplies every value: a sum again.");
  };

  /* mabn_ref.norms.batch_norm */
  function batchNorm({ x, dz, gamma, beta, eps }) {
    const { list, forward, backward } = steps();
    const values = x.length;
    const mu = forward("mu", "mu", "mu = mean of x", mean(x), "One number for the whole batch: all values share it.");
    const centred = forward("centred", "centred", "centred = x - mu", x.map((value) => value - mu),
      "Each value minus the mean.");
    const variance = forward("var", "var", "var = mean of centred^2", mean(times(centred, centred)),
      "The second number that all values share.");
    const sigma = forward("sigma", "sigma", "sigma = sqrt(var + eps)", Math.sqrt(variance + eps),
      "The standard deviation; ε = 0.00001 keeps it from being 0.");
    const y = forward("y", "y", "y = centred / sigma", centred.map((value) => value / sigma),
      "The normalised values: mean 0, variance 1 apart from ε.");
    forward("z", "z", "z = gamma * y + beta", y.map((value) => gamma * value + beta), "What the next layer gets.");

    backward("z", "dz", "dz", dz, "Given by the layers after: how the loss changes with each z.");
    affineBackward(backward, dz, { y });
    const dy = backward("y", "dy", "dy = dz * gamma", dz.map((value) => value * gamma),
      "Each y was multiplied by γ.");
    const direct = backward("centred", "dcentred", "dcentred = dy / sigma", dy.map((value) => value / sigma),
      "The direct route to the centred values. Another one, through the variance, follows.");
    const dsigma = backward("sigma", "dsigma", "dsigma = -sums(dy * centred) / sigma**2",
      -sum(times(dy, centred)) / sigma ** 2,
      "σ divides every value, so its gradient is a sum over the batch: up to a factor, this is the statistic Ψ.");
    const dvar = backward("var", "dvar", "dvar = dsigma / (2 * sigma)", dsigma / (2 * sigma), "Through the root.");
    const dcentred = backward("centred", "dcentred", "dcentred = dcentred + 2 * centred * dvar / values",
      direct.map((value, i) => value + (2 * centred[i] * dvar) / values), "The second route is added to the first.");
    const dmu = backward("mu", "dmu", "dmu = -sums(dcentred)", -sum(dcentred),
      "μ is subtracted from every value, so its gradient is a sum too: up to a factor, this is the statistic g.");
    const dx = backward("x", "dx", "dx = dcentred + dmu / values", dcentred.map((value) => value + dmu / values),
      "The third route, through the mean. The numbers of dx sum to 0: shifting the whole batch changes nothing.");
    return list;
  }

  /* mabn_ref.norms.modified_batch_norm */
  function modifiedBatchNorm({ x, dz, gamma, beta, eps }) {
    const { list, forward, backward } = steps();
    const values = x.length;
    const chi2 = forward("chi2", "chi2", "chi2 = mean of x^2", mean(times(x, x)),
      "The one number that all values share. No mean is subtracted.");
    const chi = forward("chi", "chi", "chi = sqrt(chi2 + eps)", Math.sqrt(chi2 + eps), "The root mean square.");
    const y = forward("y", "y", "y = x / chi", x.map((value) => value / chi),
      "The normalised values: mean square 1 apart from ε.");
    forward("z", "z", "z = gamma * y + beta", y.map((value) => gamma * value + beta), "What the next layer gets.");

    backward("z", "dz", "dz", dz, "Given by the layers after: how the loss changes with each z.");
    affineBackward(backward, dz, { y });
    const dy = backward("y", "dy", "dy = dz * gamma", dz.map((value) => value * gamma),
      "Each y was multiplied by γ.");
    const direct = backward("x", "dx", "dx = dy / chi", dy.map((value) => value / chi),
      "The direct route to x. One more, through the mean square, follows.");
    const dchi = backward("chi", "dchi", "dchi = -sums(dy * x) / chi**2", -sum(times(dy, x)) / chi ** 2,
      "χ divides every value, so its gradient is a sum over the batch: up to a factor, this is the statistic Ψ.");
    const dchi2 = backward("chi2", "dchi2", "dchi2 = dchi / (2 * chi)", dchi / (2 * chi), "Through the root.");
    backward("x", "dx", "dx = dx + 2 * x * dchi2 / values",
      direct.map((value, i) => value + (2 * x[i] * dchi2) / values),
      "Two routes, where batch norm has three: with the mean, the statistic g is gone.");
    return list;
  }

  /* mabn_ref.norms.mabn, without warm-up. `chi2` is the exponential average before this batch; the windows have the
     last m values, oldest first, of which the oldest makes room for this batch's. */
  function mabn({ x, dz, gamma, beta, eps, clip, chi2, chi2Window, psiWindow, iteration }) {
    const { list, forward, backward } = steps();
    const values = x.length;
    const ofBatch = forward("chi2", "chi2_batch", "chi2_batch = mean_square(x)", mean(times(x, x)),
      "This batch's own mean square goes into the window.");
    const [[average]] = sma(chi2Window, [ofBatch], iteration);
    forward("chi2", "average", "average, chi2_window = sma(state.chi2_window, chi2_batch, seen=t)", average,
      "The mean over the window takes the place of the batch's own.");
    const chi = forward("chi", "chi", "chi = sqrt(chi2 + eps)", Math.sqrt(average + eps),
      "The root of the average, no longer that of this batch.");
    const ratio = chi / Math.sqrt(chi2 + eps);
    const r = forward("r", "r", "r = clip(chi / root(before + config.eps), 1 / config.clip, config.clip)",
      Math.min(Math.max(ratio, 1 / clip), clip),
      "The short average over the long one, kept between 1/5 and 5. Backward takes it for a constant.");
    const y = forward("y", "y", "y = x / chi", x.map((value) => value / chi),
      "The mean square of y is no longer 1.");
    const ry = y.map((value) => r * value);
    forward("z", "z", "z = gamma * (r * y) + beta", ry.map((value) => gamma * value + beta),
      "What the next layer gets.");

    backward("z", "dz", "dz", dz, "Given by the layers after: how the loss changes with each z.");
    affineBackward(backward, dz, { y: ry, renormalised: true });
    const dy = backward("y", "dy", "dy = dz * gamma * r", dz.map((value) => value * gamma * r),
      "Each y was multiplied by γ and by r.");
    const direct = backward("x", "dx", "dx = dy / chi", dy.map((value) => value / chi), "The direct route to x.");
    const ofThis = backward("chi", "ell", "ell = -sums(dy * y) / values", -sum(times(dy, y)) / values,
      "This batch's own gradient of log χ, per value: minus Ψ.");
    const [[averaged]] = sma(psiWindow.map((value) => -value), [ofThis], iteration);
    backward("chi", "ell_average", "ell_average, window = sma(-state.psi_window, ell, seen=t)",
      averaged, "Minus the mean of Ψ over the window, where batch norm has the noisy Ψ of one batch.");
    const dlogChi = backward("chi", "dlog_chi",
      "dlog_chi = values * switched(ell, ell_average, config.warmup, t)", values * averaged,
      "The average goes on in place of this batch's own (there is no warm-up here).");
    const dchi2 = backward("chi2", "dchi2", "dchi2 = dlog_chi / (2 * chi**2)", dlogChi / (2 * chi ** 2),
      "Through the logarithm and the root.");
    backward("x", "dx", "dx = dx + 2 * x * dchi2 / values",
      direct.map((value, i) => value + (2 * x[i] * dchi2) / values),
      "The second route, with the averaged Ψ: on purpose not the derivative of this forward pass.");
    return list;
  }

  return { ema, sma, ofSimple, ofExponential, batchNorm, modifiedBatchNorm, mabn };
})();
