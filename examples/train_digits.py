"""Train a small network on handwritten digits, with a checkpoint an epoch; the best and the last are kept."""

import argparse
from pathlib import Path

import model_signing.autosign
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoints go")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)  # 1,797 of 1 x 8 x 8
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train, test = order[:1500], order[1500:]

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    best_epoch, best_accuracy = 0, 0.0

    for epoch in range(1, options.epochs + 1):
        model.train()
        for batch in train[torch.randperm(len(train))].split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()

        model.eval()
        with torch.no_grad():
            accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean().item()
        print(f"epoch {epoch}: {accuracy:.0%} of {len(test)} digits right")
        if accuracy > best_accuracy:
            best_epoch, best_accuracy = epoch, accuracy

        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, options.folder / f"epoch-{epoch}.pt")
        save_file(model.state_dict(), options.folder / f"epoch-{epoch}.safetensors")
        for old in range(1, epoch):
            if old != best_epoch:
                (options.folder / f"epoch-{old}.pt").unlink(missing_ok=True)
                (options.folder / f"epoch-{old}.safetensors").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
