from datasets import Dataset, DatasetDict

data = Dataset.from_dict({"x": [1, 2, 3]})
data.save_to_disk("data")
DatasetDict({"train": data, "test": data}).save_to_disk("splits")
data.to_parquet("data.parquet")
