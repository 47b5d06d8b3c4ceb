"""Meshes with explicit axes: what each array's type says of its place.

JAX then asks of every operation where its result lies. The model leaves that to the
compiler: its functions run with automatic axes, and give results back with explicit ones.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gemma.gm.typing import Params

# What has an axis of rows, by name, where it was not passed by place.
_ROWS = ("variables", "tokens", "x", "images")
_F = TypeVar("_F", bound=Callable[..., Any])


def on_any_mesh(method: _F) -> _F:
    """Makes a method of the model run on meshes with explicit axes.

    Results lie as the axes of rows of its first array, and else whole on each device; a
    cache as the one that was given.
    """

    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any):
        mesh = _explicit_mesh(given := (args, options))
        if mesh is None:
            return method(self, *args, **options)
        leaves, tree = jax.tree.flatten(given)
        places = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

        def run(*arrays: Any) -> Any:
            whole = list(leaves)
            for place, array in zip(places, arrays, strict=True):
                whole[place] = array
            args, options = jax.tree.unflatten(tree, whole)
            found = method(self, *args, **options)
            if not hasattr(found, "cache"):
                return found, None
            return found._replace(cache=None), found.cache

        rows = [*args, *(options[name] for name in _ROWS if name in options)][1]
        by_row = NamedSharding(mesh, P(*_spec(rows)[:-1]))
        cache = jax.tree.map(
            lambda x: NamedSharding(mesh, P(*_spec(x))), options.get("cache")
        )
        automatic = jax.sharding.auto_axes(run, out_sharding=(by_row, cache))
        made: Any = automatic(*(leaves[i] for i in places))
        found, new_cache = made
        return found._replace(cache=new_cache) if hasattr(found, "cache") else found

    return call  # pyright: ignore[reportReturnType]


def with_automatic_axes(tree: Params) -> Params:
    """Returns the same arrays, of which no type says where they lie. Nothing is copied.

    It is the tree itself if none of them has explicit axes.
    """

    def place(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding) or not _has_explicit(sharding.mesh):
            return leaf
        mesh = sharding.mesh
        assert isinstance(mesh, Mesh)
        types = (jax.sharding.AxisType.Auto,) * len(mesh.axis_names)
        same = Mesh(mesh.devices, mesh.axis_names, axis_types=types)
        return jax.device_put(leaf, NamedSharding(same, sharding.spec))

    return tree if _explicit_mesh(tree) is None else jax.tree.map(place, tree)


def in_mesh_of(tree: Any) -> contextlib.AbstractContextManager[Any]:
    """Returns a context of the mesh that arrays lie on, if it has several devices.

    A caller may have set a mesh of explicit axes, which the arrays do not have.
    """
    first = next(iter(jax.tree.leaves(tree)), None)
    mesh = getattr(getattr(first, "sharding", None), "mesh", None)
    if isinstance(mesh, Mesh) and mesh.size > 1:
        return jax.set_mesh(mesh)
    return contextlib.nullcontext()


def _explicit_mesh(tree: Any) -> Any:
    """Returns the mesh with explicit axes that some array lies on, or None."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):
            mesh = jax.typeof(leaf).sharding.mesh
            if _has_explicit(mesh):
                return mesh
    return None


def _has_explicit(mesh: Any) -> bool:
    return bool(getattr(mesh, "explicit_axes", ()))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _spec(array: Any) -> tuple[Any, ...]:
    """Returns which axes of the mesh each axis of an array is spread over."""
    spec = getattr(jax.typeof(array).sharding, "spec", ())
    return (*spec, *(None,) * (np.ndim(array) - len(spec)))
