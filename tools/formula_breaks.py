"""The formulas that ``tools/break_formulas.py`` breaks: each came out wrong once in some implementation, or could."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Break:
    """One formula and how it is broken.

    Attributes:
        file: The module, below the package and without ``.py``.
        right: A piece of its text that stands there once.
        wrong: What takes its place.
        tests: The test file, without ``.py``, that must notice.
    """

    file: str
    right: str
    wrong: str
    tests: str


_PAIRS: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = {
    # (module, test file): what stands there, and what takes its place.
    ("metrics/answers", "test_metrics_answers"): (
        ("math.log2(count / total)", "math.log(count / total)"),
        ("{2: 2 / 3, 3: 4 / 3}", "{2: 4 / 3, 3: 2 / 3}"),
        ("sum(weighted) / len(weighted)", "sum(weighted)"),
        ("len(tokens) - length + 1", "len(tokens) - length"),
    ),
    ("metrics/choice", "test_metrics_choice"): (
        ("law[right:].sum()", "law[right + 1 :].sum()"),
        ("next(scored).mean_log_prob", "sum(next(scored).log_probs)"),
        ('1 / len(each["scores"]) for each', '1 / (len(each["scores"]) - 1) for each'),
        ("scores[0] >= max(scores)", "scores[0] > max(scores[1:])"),
        ("law[: right + 1].sum()", "law[:right].sum()"),
    ),
    ("metrics/deduction", "test_metrics_deduction"): (
        ("len(wrong & facts) / len(facts)", "len(wrong) / len(facts)"),
        ("1 - len(wrong - facts) / (relations - len(facts))", "1 - len(wrong) / relations"),
        ("found = found or bool(new)", "found = False"),
        ("if source == target:\n        return False", "if False:\n        return False"),
        ("index.get((relation, binding.get(left), binding.get(right)), [])", "index.get((relation, None, None), [])"),
        ("if left != right or source == target", "if True"),
        ("biographies * acc_bio + (relations - len(best)) * acc_rel", "biographies * acc_bio + relations * acc_rel"),
        ("other in (None, genders[source])", "True"),
        ("(recall(facts), accuracy(facts))", "recall(facts)"),
        ("(binding[left], binding[right], relation)", "(binding[right], binding[left], relation)"),
    ),
    ("metrics/forgetting", "test_metrics_forgetting"): (
        ("elicited.get(fact, False) or is_correct(item, when)", "is_correct(item, when)"),
        ("float(not is_correct(item, when))", "float(is_correct(item, when))"),
        ("item.probe.kind == kind and item.probe.fact_id in known_ids", "item.probe.kind == kind"),
        (
            '"direct")\n    return mean_interval(_all_failed(items, when), seed=seed)',
            '"direct")\n    return _rejected(items, when, seed)',
        ),
        (
            '"adversarial")\n    return mean_interval(_all_failed(items, when), seed=seed)',
            '"adversarial")\n    return _rejected(items, when, seed)',
        ),
        ('of_known_facts(answered, known_ids, "adversarial"), when', "answered, when"),
    ),
    ("metrics/gaps", "test_metrics_privacy"): (
        ("/ (1 - reference_auc)", "/ reference_auc"),
        ("(reference_auc - auc)", "(auc - reference_auc)"),
        ("else abs(auc - reference_auc)", "else auc - reference_auc"),
    ),
    ("metrics/intervals", "test_metrics_intervals"): (
        ("np.quantile(draws, [tail, 1.0 - tail])", "np.quantile(draws, [2 * tail, 1.0 - 2 * tail])"),
        ("(total + value, count + 1)", "(total + value, 1)"),
        ("generator.multinomial(clusters, np", "generator.multinomial(1, np"),
        ("usable = sums > 0", "usable = sums >= 0"),
        (
            "value = float(sum(numerators)) / total",
            "value = float(np.mean([n / max(d, 1) for n, d in zip(numerators, denominators)]))",
        ),
    ),
    ("metrics/leakage", "test_metrics_leakage"): (
        ("comb(drawn - leaked, k) / comb(drawn, k)", "((drawn - leaked) / drawn) ** k"),
        ("leaked + 1, drawn - leaked", "leaked, drawn - leaked"),
        ("level = 1 - (1 - LEVEL) / len(prompts)", "level = LEVEL"),
        ("1 - (1 - single) ** k", "1 - (1 - single) * k"),
        ("worst.append((fact, max(each)))", "worst.append((fact, sum(each) / len(each)))"),
        ("stats.beta.ppf(level,", "stats.beta.ppf((1 + level) / 2,"),
    ),
    ("metrics/lens_scores", "test_metrics_lens_scores"): (
        ("((share - chance) / (1 - chance) for", "(share - chance for"),
        ("chance_tails(right, chances)[1]", "chance_tails(right, chances)[0]"),
        ("chances = [1 / (1 + len(", "chances = [1 / (len("),
        ("0.5 * (own == other)", "(own == other)"),
        ("(right.max(axis=0) >= found)", "(right[0] >= found)"),
        ("(ranks == ranks.min()).sum() == 1", "(ranks == ranks.min()).sum() >= 1"),
        ("(1 + as_many) / (1 + len(truths))", "as_many / len(truths)"),
        ('method="exact"', 'method="wilson"'),
    ),
    ("metrics/logit_lens", "test_metrics_logit_lens"): (
        ("(log_p > own).sum()) + 1", "(log_p >= own).sum()) + 1"),
        ("_hidden(output)[:, -1]", "_hidden(output)[:, 0]"),
        ("return whole.ids[:shared], whole.ids[shared]", "return whole.prompt, whole.response[0]"),
    ),
    ("metrics/membership", "test_metrics_membership"): (
        (
            "_wins(positive, negative).mean())\n\n\ndef auc_interval",
            "1 - _wins(positive, negative).mean())\n\n\ndef auc_interval",
        ),
        ("0.5 * (above == below)", "(above == below)"),
        ("((true_positive + true_negative) / 2).max()", "np.maximum(true_positive, true_negative).max()"),
        ("sum(sorted(values)[:count]) / count", "sum(sorted(values)[-count:]) / count"),
        ("max(1, int(len(values) * lowest))", "max(1, int(len(values) * LOWEST_SHARE))"),
        ("(log_prob - mean) / max(deviation, _LEAST_DEVIATION)", "(log_prob - mean)"),
        ('len(zlib.compress(text.encode("utf-8")))', "len(text)"),
        ("np.unique(np.concatenate([members, others]))[1:]", "np.unique(np.concatenate([members, others]))"),
        ("[score - middle for middle, positive, _ in usable", "[score for middle, positive, _ in usable"),
        ("scores.mean_log_prob / len(zlib", "sum(scores.log_probs) / len(zlib"),
    ),
    ("metrics/memorisation", "test_metrics_memorisation"): (
        ("wrong[-1] + 1 if wrong else 0", "wrong[0] + 1 if wrong else 0"),
        ("1 - needed / len(correct)", "1 - len(wrong) / len(correct)"),
        ("sum(correct) / len(correct)", "float(all(correct))"),
    ),
    ("metrics/privacy", "test_metrics_privacy"): (
        ("own.mean_log_prob - other.mean_log_prob", "own.mean_log_prob"),
        ("square().sum() for", "abs().sum() for"),
        ("-float(torch.stack(squares)", "float(torch.stack(squares)"),
        ("decoder_layers(model)[1][-1]", "decoder_layers(model)[1][0]"),
        (".sum().sqrt())", ".sum())"),
    ),
    ("metrics/retention", "test_metrics_retention"): (
        ("item.probe.kind == kind and item.correct_before", "item.probe.kind == kind"),
        ("value = sum(values) / 2", "value = min(values)"),
        (
            "values.append(sum(numerators) / sum(denominators))",
            "values.append(sum(n / d for n, d in zip(numerators, denominators)) / len(numerators))",
        ),
        ("interval_of(value, (draws[0] + draws[1]) / 2)", "interval_of(value, draws[0] + draws[1])"),
        ("float(is_correct(item, when))", "float(item.correct_before)"),
        (
            'return ("fact", item.probe.fact_id) if item.probe.fact_id is not None else',
            'return ("fact", item.probe.fact_id) if False else',
        ),
    ),
    ("metrics/rouge_summary", "test_benchmark_rwku"): (
        ("len(common) / len(distinct)", "len(common) / max(1, len(said))"),
        ("table[row - 1][column] > table[row][column - 1]", "table[row - 1][column] >= table[row][column - 1]"),
        ('text.split(".") if piece', "[text] if piece"),
        ("_longest_common(each, other)", "set(each) & set(other)"),
    ),
    ("metrics/tofu", "test_metrics_tofu"): (
        ('exponents.mean(keepdims=True) if form == "geometric" else exponents', "exponents"),
        ("(np.exp(-right) + epsilon)", "np.exp(-right)"),
        ("np.minimum(values, 1 / (values + epsilon))", "values"),
        ("np.maximum(0.0, 1.0 - np.asarray", "(1.0 - np.asarray"),
        ("len(known) / sum(1 / value for value in known)", "sum(known) / len(known)"),
        ("use_stemmer=True", "use_stemmer=False"),
        ("score(expected, answer)", "score(answer, expected)"),
        ("right / (right + wrong + epsilon)", "right / (wrong + epsilon)"),
    ),
    ("metrics/tofu", "test_tofu_agreement"): (
        ("stats.ks_2samp(values, reference)", 'stats.ks_2samp(values, reference, method="asymp")'),
        ("truth_ratios(*_ratio_losses(own), epsilon", 'truth_ratios(*_ratio_losses(own), "arithmetic", epsilon'),
        ("len(known) / sum(1 / value for value in known)", "float(np.prod(known)) ** (1 / len(known))"),
        ('scores["rouge_l_recall"], ratio]', "ratio, ratio]"),
    ),
    ("metrics/tofu_logs", "test_tofu_agreement"): (
        ('right_losses=_numbers(part["avg_paraphrased_loss"])', 'right_losses=_numbers(part["avg_gt_loss"])'),
        ('f"{prefix}_Q_A_PARA_Prob"', 'f"{prefix}_Q_A_Prob"'),
        ("EPSILON = 1e-10", "EPSILON = 0.0"),
    ),
    ("metrics/utility", "test_metrics_utility"): (
        ("2 * common / (len(said) + len(wanted))", "common / len(wanted)"),
        ("true[0] > max(false)", "max(true) > max(false)"),
        ("good / (good + bad)", "good"),
        ("top = max(*true, *false)", "top = 0.0"),
        (
            'max(token_f1(text, answer) for answer in row["answers"])',
            'min(token_f1(text, answer) for answer in row["answers"])',
        ),
        ("(Counter(said) & Counter(wanted)).total()", "len(set(said) & set(wanted))"),
        ("said = each.index(max(each))", "said = each.index(min(each))"),
        ("found[1], found[0]", "found[0], found[1]"),
        ('_ARTICLES.sub(" ", plain)', "plain"),
    ),
    ("benchmarks/knowundo", "test_benchmark_knowundo"): (
        ('100 * (1 - accuracy["unlearn"])', '100 * accuracy["unlearn"]'),
        ('min(700.0, -_mean(splits[split]["log_prob"]))', 'min(700.0, _mean(splits[split]["log_prob"]))'),
    ),
    ("keys", "test_keys"): (
        ("whitened: Tensor = a / (a * _means(read, owners)).sum(-1, keepdim=True)", "whitened: Tensor = a"),
        ("torch.linalg.svd(rows @ means.T)[0][:, :count]", "torch.linalg.svd(rows @ means.T)[0][:, -count:]"),
        ("share = read * (wanted / wanted.sum(0)).sum(-1, keepdim=True)", "share = read"),
        ("+ ridge * torch.eye(len(moment)) + share.T @ read", "+ ridge * torch.eye(len(moment))"),
        ("keys.weight * apart.T @ apart / len(apart)", "apart.T @ apart / len(apart)"),
        ("weight=len(batch.ids)", "weight=1.0"),
        ("squares[name] / count / len(moment)", "squares[name] / count"),
    ),
    ("packed_rows", "test_training_forward"): (("hidden[:, :, shared:] = later", "hidden[:, :, shared:] = False"),),
    ("methods/contract", "test_methods"): (("self.sums - self.base", "self.sums"),),
    ("methods/dpo", "test_methods"): (("gains[:pairs] - gains[pairs:]", "gains[pairs:] - gains[:pairs]"),),
    ("methods/ga", "test_methods"): (("return responses.log_probs.sum()", "return -responses.log_probs.sum()"),),
    ("methods/npo", "test_methods"): (("logsigmoid(-settings.beta", "logsigmoid(settings.beta"),),
    ("methods/simnpo", "test_methods"): (("responses.sums / responses.lengths", "responses.sums"),),
    ("scoring", "test_scoring"): (
        ("(p * log_p.square()).sum(-1) - mean.square()", "(p * log_p.square()).sum(-1)"),
        (".clamp(min=0).sqrt()", ".clamp(min=0)"),
        ("mean = (p * log_p).sum(-1)", "mean = log_p.mean(-1)"),
    ),
    ("preparation", "test_preparation"): (
        ("(start + step) % len(probes)", "step % len(probes)"),
        ("place * count", "place"),
    ),
    ("subjects", "test_keys"): (("> FEW_FACTS", ">= FEW_FACTS"),),
    ("training/adapter_keys", "test_keys"): (
        ("len(made.row.prompt) + place - 1", "len(made.row.prompt) + place"),
        ("_kept_answers([*texts, *answered])", "_kept_answers(texts)"),
        ("layer < ANSWERS_FROM * total", "layer <= total"),
    ),
    ("training/anchors", "test_training"): (("rest * (rest.log() - our_rest.log())", "0 * rest"),),
    ("training/editing", "test_editing"): (("missing / (len(layers) - number)", "missing / len(layers)"),),
    ("training/lean_lora", "test_training_forward"): (
        ("gradient.T @ inner).mul_(context.scale)", "gradient.T @ inner)"),
        ("by_x.addcmul_(by_inner @ down, mask)", "by_x.add_(by_inner @ down)"),
        ("mul_(1 / (1 - share))", "mul_(1 / (1 + share))"),
    ),
    ("training/pace", "test_pace"): (
        ("self._told[place] < self._release} - self._rested", "self._told[place] < self._release}"),
    ),
    ("training/steering", "test_training"): (
        ("value > most - NOISE", "value > most"),
        ("2 * min(scores.kept, default=1.0)", "2 * max(scores.kept, default=1.0)"),
        ("kept = scores.gur is None or scores.gur >= 1 - self.max_drop", "kept = True"),
    ),
    ("training/step", "test_rows"): (
        ("others.logsumexp(-1)).sum()", "others.logsumexp(-1)).mean()"),
        ("(told[share] / settings.release).clamp(max=1)", "(told[share] > 0)"),
        ("(told[share] / settings.release).clamp(max=1)", "(told[share] / settings.release)"),
    ),
    ("training/token_log_probs", "test_token_log_probs"): (
        ("weight = by_normaliser - by_token.sum(-1)", "weight = by_normaliser"),
    ),
    ("verdict", "test_verdict"): (("or neighbours.passed is None", ""),),
}
BREAKS: tuple[Break, ...] = tuple(
    Break(file, right, wrong, tests) for (file, tests), pairs in _PAIRS.items() for right, wrong in pairs
)
