import equinox
import jax

layer, state = equinox.nn.make_with_state(equinox.nn.BatchNorm)(1, "batch", mode="batch")
trains = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
infers = jax.vmap(equinox.nn.inference_mode(layer), axis_name="batch", in_axes=(0, None), out_axes=(0, None))

x = jax.numpy.array([[-1.0], [1.0]])  # mean 0, variance 1
for steps in range(1, 101):
    _, state = trains(x, state)
    if steps in (1, 10, 100):
        print(steps, [f"{z:.2f}" for z in infers(x, state)[0].ravel()])
