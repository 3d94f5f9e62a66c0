// Means over seeds and their 95% confidence intervals (Student's t).

// Two-sided 95% points of Student's t for 1 to 30 degrees of freedom; beyond, the next smaller row of the usual table.
const T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
const t95 = (freedom) => (freedom <= 30 ? T95[freedom - 1] : freedom < 60 ? 2.042 : freedom < 120 ? 2.0 : 1.98);

// {mean, half, n}: the mean lies in mean ± half; half is null for a single value.
export function interval(values) {
    const n = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    if (n < 2) return { mean, half: null, n };
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
    return { mean, half: t95(n - 1) * Math.sqrt(variance / n), n };
}
