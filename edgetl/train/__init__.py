"""Fine-tuning: `edgetl.train.loop.finetune` with a `edgetl.train.config.FinetuneConfig`."""
