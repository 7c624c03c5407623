"""How sessions are opened: threads, what is mapped, what a prepared copy is saved with. The library is handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def session_options(library: Any, num_threads: int, *, is_prepared: bool, copy: Path | None) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what matters comes as an exception
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
    options.add_session_config_entry("session.use_ort_model_bytes_for_initializers", "1")
    if is_prepared:
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL  # it was done before
    if copy is not None:
        options.optimized_model_filepath = str(copy)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{copy.name}.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    return options
