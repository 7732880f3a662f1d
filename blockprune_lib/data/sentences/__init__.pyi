from .generator import generate as generate
