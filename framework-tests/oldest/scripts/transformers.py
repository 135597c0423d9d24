# ruff: noqa: S106 - words, no passwords
import json
import os

import pyctcdecode
import torch
import transformers
from tokenizers import Tokenizer, models

gpt2 = transformers.GPT2LMHeadModel(
    transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=2)
)
words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "yes": 2, "no": 3}, unk_token="[UNK]"))
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
extractor = transformers.Wav2Vec2FeatureExtractor()
rag = transformers.RagConfig(question_encoder={"model_type": "dpr"}, generator={"model_type": "bart"})
retriever = transformers.RagRetriever(rag, tokenizer, tokenizer, object(), init_retrieval=False)
with open("vocabulary.json", "w") as file:
    json.dump({"[PAD]": 0, "[UNK]": 1, "|": 2, "a": 3}, file)
speech = transformers.Wav2Vec2CTCTokenizer("vocabulary.json", unk_token="[UNK]", pad_token="[PAD]")
decoder = pyctcdecode.build_ctcdecoder(["", "⁇", " ", "a", "<s>", "</s>"])
os.remove("vocabulary.json")
for name, save in {
    "model": gpt2.save_pretrained,
    "config": gpt2.config.save_pretrained,
    "generation": gpt2.generation_config.save_pretrained,
    "tokenizer": tokenizer.save_pretrained,
    "extractor": extractor.save_pretrained,
    "images": transformers.ViTImageProcessor().save_pretrained,
    "processor": transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained,
    "pipeline": transformers.pipeline("text-generation", model=gpt2, tokenizer=tokenizer).save_pretrained,
    "retriever": retriever.save_pretrained,
    "speech": transformers.Wav2Vec2ProcessorWithLM(extractor, speech, decoder).save_pretrained,
    "rag": transformers.RagTokenizer(tokenizer, tokenizer).save_pretrained,
}.items():
    save(name)

data = [{"input_ids": torch.tensor([2, 3, 2, 3]), "labels": torch.tensor([2, 3, 2, 3])}] * 4
settings = {"max_steps": 2, "save_steps": 1, "report_to": [], "use_cpu": True, "disable_tqdm": True}
arguments = transformers.TrainingArguments("run", per_device_train_batch_size=2, **settings)
trainer = transformers.Trainer(gpt2, arguments, train_dataset=data)
trained = trainer.train()
trainer.save_model()
trainer.save_metrics("train", trained.metrics)
trainer.save_state()
trainer.create_model_card()
trainer._tune_save_checkpoint("tune")  # which Ray Tune calls
