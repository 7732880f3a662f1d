"""Twelve kinds of fault that users reported of other libraries, and the tests that keep each kind out of this one.

Each kind began with a script that failed here once. A test below is no variation of that script: it comes at the kind
from another side. To see them: `python -m pytest tests/test_reported_faults.py -v`; to add one, name it here.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Kind:
    """What went wrong elsewhere, with what it began here, and the tests: "folder/file::test"."""

    fault: str
    began: str
    tests: tuple[str, ...]


KINDS = {
    "A": Kind(
        "memory that a kernel reads or writes follows a global default, or is not what it was taken for",
        "a default dtype of float64 overran the heap",
        (
            "kernels/test_functional::test_whatever_memory_x_weights_and_bias_lie_in",
            "kernels/test_functional::test_values_that_were_resized_are_refused",
            "kernels/test_layer_product::test_ever_new_lengths_fill_no_memory",
            "kernels/test_parallel::test_a_forked_child_computes",
            "nn/test_engine::test_writes_that_torch_does_not_count_are_seen",
            "nn/test_types::test_what_is_moved_there_and_back_has_its_rounded_weights",
        ),
    ),
    "B": Kind(
        "what looks at a graph does not see the kernel",
        "a traced or exported model ignored its input",
        (
            "kernels/test_traced::test_another_process_runs_what_was_saved_once_it_has_the_operators",
            "kernels/test_traced::test_an_ensemble_of_layers_with_patterns_of_their_own",
            "kernels/test_traced::test_dual_numbers",
            "kernels/test_operator::test_what_torch_demands_of_an_operator",
            "kernels/test_operator::test_operations_are_counted_by_what_is_stored",
            "kernels/test_traced::test_script_is_refused_and_leaves_the_model_as_it_was",
            "nn/test_plain_model::test_onnx_runtime_gives_the_same",
        ),
    ),
    "C": Kind(
        "a sparse model kept by other hands comes back with random weights",
        "save_pretrained wrote what from_pretrained filled with random numbers",
        (
            "nn/test_storage::test_a_trainer_goes_on_from_its_checkpoint",
            "nn/test_storage::test_transformers_own_push_uploads_what_load_reads",
            "nn/test_storage::test_what_accelerate_and_safetensors_write_is_no_dense_model",
            "nn/test_storage::test_a_pipeline_keeps_and_serves_a_sparse_model",
            "nn/test_storage::test_sentence_transformers_own_save_is_never_read_as_a_dense_model",
            "nn/test_types::test_a_type_is_kept_however_a_model_is",
        ),
    ),
    "D": Kind(
        "a matrix is passed over in silence, or taken in silence",
        "heads and tied embeddings were cut, reparametrised layers were not",
        (
            "nn/test_convert::test_a_linear_that_does_more_than_multiply_stays_as_it_is",
            "nn/test_convert::test_a_hook_inside_a_compiled_encoder_is_still_called",
            "nn/test_convert::test_what_shares_a_weight_shares_what_is_stored",
            "nn/test_convert::test_layers_of_a_transformer_that_share_are_saved_and_loaded",
            "nn/test_convert::test_a_weight_that_does_more_than_a_linears_is_said_at_once_and_refused",
            "nn/test_convert::test_weights_that_are_still_to_come_are_named",
            "pruning/test_architectures::test_quantised_layers_are_named",
            "pruning/test_architectures::test_thin_matrices_beside_one_that_their_product_fits_are_named",
            "pruning/test_architectures::test_a_tied_layer_of_a_plain_module_is_left_alone",
        ),
    ),
    "E": Kind(
        "a table of text is read with rows or letters lost",
        "quotation marks in a .tsv swallowed rows",
        (
            "data/test_text_files::test_any_text_as_csv",
            "data/test_text_files::test_any_text_as_tsv",
            "data/test_text_files::test_any_lines_as_json",
            "data/test_text_files::test_long_cells_full_of_what_readers_trip_over",
            "data/test_text_files::test_files_read_on_several_threads_at_once",
        ),
    ),
    "F": Kind(
        "the type of a label's number decides what it means",
        "NumPy's integers were refused as labels",
        (
            "data/test_labels::test_names_are_places_in_alphabetical_order",
            "data/test_labels::test_a_blank_is_refused_by_row",
            "data/test_labels::test_a_label_that_is_never_trained_on_is_refused_by_row",
            "data/test_labels::test_whole_numbers_with_a_point_are_said_aloud",
            "data/test_own_data::test_both_files_decide_whether_labels_are_numbers",
        ),
    ),
    "G": Kind(
        "a container: nothing can be written, few cores, no compiler",
        "Numba found no place for its cache",
        (
            "machine/test_native::test_what_lies_in_a_folder_that_cannot_be_written_is_read",
            "machine/test_native::test_a_full_disk_is_said_once",
            "machine/test_native::test_a_damaged_file_is_passed_over_and_made_again",
            "machine/test_native::test_a_user_who_switches_the_compiler_off_still_gets_results",
            "nn/test_first_call::test_more_threads_than_cores_finish",
        ),
    ),
    "H": Kind(
        "training on what is left breaks under what wraps a training step",
        "the first step under gradient checkpointing raised",
        (
            "nn/test_graph::test_what_is_saved_may_wait_elsewhere",
            "nn/test_graph::test_gradients_add_up_over_steps_in_mixed_precision",
            "training/test_stage_folder::test_a_stage_of_a_packed_model_is_kept_read_and_taken_up_again",
            "training/test_processes::test_two_processes_give_what_one_gives",
            "training/test_callback::test_a_trainer_of_ones_own_keeps_the_zeros",
            "training/test_callback::test_a_training_that_goes_on_from_a_checkpoint_keeps_them",
            "training/test_hooks::test_layers_that_share_a_weight_are_trained_on_either_support",
            "nn/test_types::test_gradients_of_a_model_are_as_near_as_those_of_the_dense_one",
        ),
    ),
    "I": Kind(
        "a text is longer than what the model takes",
        "a tokenizer without a limit let 122 tokens into 64 places",
        (
            "data/test_limits::test_the_longest_text_runs_and_a_longer_one_does_not",
            "data/test_limits::test_models_with_relative_positions_take_what_their_configuration_says",
            "data/test_limits::test_encoded_text_that_is_too_long_is_named",
            "data/test_tasks::test_texts_are_cut_to_what_the_model_takes",
        ),
    ),
    "J": Kind(
        "a compiled call is made where somebody reads what it leaves out",
        "a classifier read zeros at the first token of a text that was padded on the left",
        (
            "nn/test_engine::test_a_head_reads_the_first_token_wherever_the_text_lies",
            "nn/test_engine::test_a_mask_that_is_not_padding_goes_through_the_layers",
            "nn/test_engine::test_layer_by_layer_where_the_compiled_call_cannot_tell",
            "nn/test_engine::test_without_tokens_it_says_what_the_dense_model_says",
        ),
    ),
    "K": Kind(
        "what is packed does not follow what a user changes, or gives another type",
        "an activation that was put in after sparsify was never called",
        (
            "nn/test_engine::test_an_activation_that_is_put_in_later_takes_the_place_of_the_fused_one",
            "nn/test_engine::test_a_module_that_is_replaced_is_seen",
            "kernels/test_functional::test_under_autocast_the_result_has_the_type_of_a_dense_layers",
        ),
    ),
    "L": Kind(
        "a refusal blocks the way on, names the wrong thing, or comes bare from the system",
        "a recipe that was refused left a folder that refused the mended one",
        (
            "experiments/test_sweep::test_a_folder_in_which_nothing_was_done_takes_another_recipe",
            "experiments/test_sweep::test_what_cannot_be_a_folder_is_refused_with_what_would_do",
            "cli/test_run::test_what_cannot_be_meant_ends_with_a_sentence",
            "cli/test_run::test_a_report_of_nothing",
            "pruning/test_architectures::test_a_packed_model_is_told_the_way_back",
            "pruning/test_architectures::test_flags_must_be_flags",
            "pruning/test_architectures::test_a_warning_names_the_line_of_the_one_who_called_and_comes_once",
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_three_tests_that_are_there(kind):
    names = KINDS[kind].tests
    assert len(set(names)) == len(names) >= 3
    for name in names:
        file, _, test = name.partition("::")
        tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name
