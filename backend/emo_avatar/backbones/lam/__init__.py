"""The LAM backbone: a transformer whose queries are a head's vertices (He et al., "LAM: Large Avatar Model", 2025).

One class in two configurations: `PUBLISHED`, into which the released ``LAM-20K`` weights load by their own names, and
`SMALL`, which is trained here on the head at hand. There the transformer is asked about fewer points; Gaussians grow
between them with the photograph's pixels at hand (`sites`, `evidence`, `growth`); hair and clothes are then drawn as
finely as the photograph shows them (`fine`).
"""
