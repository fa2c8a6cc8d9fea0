def test_x(finished):
    import os

    print(os.listdir(finished))


def test_again(bayesxs, card, tmp_path):
    import time

    t = time.time()
    print(bayesxs("run", card, "--out", tmp_path / "x"), time.time() - t)
