"""Store what the reference adapter answers to the reports that 05_evaluation asked in a run: the row «reference adapter» of its tables.

python tests/store_reference.py demo
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "notebooks"))
from medanalyzr.acceleration.cpu import answer_dtype, answer_on_cpu, merge_on_cpu, unpack_on_cpu
from medanalyzr.core.run_folder import read_json, reference_source, run_folder
from medanalyzr.dataset.prepare import load_split, subset_of
from medanalyzr.dataset.prompts import format_prompt
from medanalyzr.evaluation.unseen import unseen_layouts
from medanalyzr.inference.answer_cache import AnswerBook, source_of
from medanalyzr.inference.generation import CONTEXT, generate
from medanalyzr.notebook.parameters import fill_in
from medanalyzr.training.base_models import adapter_of
from medanalyzr.training.encoding import answer_limits
from unsloth import FastLanguageModel

folder = run_folder(sys.argv[1])
training, counts = read_json(folder / "training.json", "03_train"), {"test_reports": -1, "layout_reports": -1}
fill_in(counts, training["profile"])
test = subset_of(load_split(folder, "test"), training["subset"])[: counts["test_reports"] or None]
rows = [*test, *unseen_layouts(test, counts["layout_reports"], training["origin"]["split"]["seed"])]
adapter, template, load_in_4bit = adapter_of(run_folder("reference"))
model, tokenizer = FastLanguageModel.from_pretrained(
    adapter, max_seq_length=CONTEXT, load_in_4bit=load_in_4bit, dtype=answer_dtype()
)
FastLanguageModel.for_inference(model)
unpack_on_cpu(model)
merge_on_cpu(model)
answer_on_cpu(model)
limits = answer_limits([row["output"] for row in rows], tokenizer)
(reference_source() / "answers.jsonl").unlink(missing_ok=True)
AnswerBook(reference_source() / "answers.jsonl").ask(
    source_of(adapter), [format_prompt(row, template) for row in rows], limits,
    lambda prompts, limits, keep: generate(model, tokenizer, prompts, limits, 20, "reference adapter", keep),
)  # fmt: skip
