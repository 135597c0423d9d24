from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
lora = get_peft_model(gpt2, LoraConfig(r=2, task_type="CAUSAL_LM", fan_in_fan_out=True))
lora.save_pretrained("adapters")
lora.peft_config["default"].save_pretrained("config")
