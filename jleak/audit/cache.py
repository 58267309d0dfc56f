"""JAX's persistent compilation cache: on by default, in the user's cache directory."""

from pathlib import Path

import jax
import platformdirs

from jleak.check import InputError


class Uses:
    """How often a compilation was taken from the cache, and how often not."""

    hits = 0
    misses = 0


def enable(path: Path | None = None) -> tuple[Path, Uses]:
    """Switches the cache on; returns where it is and a count that follows its use.

    Args:
      path: its directory; None for JAX's own setting (JAX_COMPILATION_CACHE_DIR), or else `jleak/xla` in
        the user's cache directory.

    Raises:
      InputError: the directory cannot be made.
    """
    path = path or Path(
        jax.config.jax_compilation_cache_dir or Path(platformdirs.user_cache_dir("jleak")) / "xla"
    )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"compilation cache {path} cannot be made: {error.strerror}; name another with --cache, "
            "or use --no-cache"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_enable_compilation_cache", True)
    uses = Uses()

    def follow(event: str, **_) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            uses.hits += 1
        elif event == "/jax/compilation_cache/cache_misses":
            uses.misses += 1

    jax.monitoring.register_event_listener(follow)
    return path, uses


def disable() -> None:
    """Switches the cache off, also where JAX_COMPILATION_CACHE_DIR is set."""
    jax.config.update("jax_enable_compilation_cache", False)
