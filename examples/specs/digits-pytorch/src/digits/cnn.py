"""A small convolutional network and its own training loop."""

import torch
from torch import nn
from torch.nn import functional


class Digits(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.head = nn.Linear(8 * channels, classes)

    def forward(self, pixels):
        return self.head(self.body(pixels.unsqueeze(1)).flatten(1))


def build(params, signature):
    return Digits(params.get("channels", 16), signature.classes)


def fit(context):
    """One-cycle training. Saves after each epoch; when it was stopped or killed, it goes on where it was."""
    model, params = context.model, context.params
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=params.get("weight_decay", 0.01))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=params.get("learning_rate", 0.005),
        epochs=context.epochs,
        steps_per_epoch=len(context.data("train")),
    )
    first = 0
    if (state := context.latest()) is not None:
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"] + 1
    for epoch in range(first, context.epochs):
        train(context, model, optimizer, schedule, epoch)
        validate(context, model, epoch)
        context.save({"epoch": epoch, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
        if context.should_stop:
            return


def train(context, model, optimizer, schedule, epoch):
    model.train()
    total = rows = 0
    for batch, label in context.data("train", epoch):
        with context.autocast():
            loss = functional.cross_entropy(model(batch["pixels"]), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(label)
        rows += len(label)
    context.log("train_loss", total / rows, epoch)


@torch.no_grad()
def validate(context, model, epoch):
    model.eval()
    loss = right = rows = 0
    for batch, label in context.data("validation"):
        logits = model(batch["pixels"])
        loss += functional.cross_entropy(logits, label, reduction="sum").item()
        right += (logits.argmax(1) == label).sum().item()
        rows += len(label)
    context.log("val_loss", loss / rows, epoch)
    context.log("val_accuracy", right / rows, epoch)
