"""Readers of backbones: folders, archives, the hub; the tokenizer that belongs to one."""
