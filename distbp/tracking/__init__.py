"""Callbacks that log runs to TensorBoard, MLflow or Ray's metrics (Prometheus)."""

from distbp.tracking.mlflow import MLflow
from distbp.tracking.ray_metrics import RayMetrics
from distbp.tracking.tensorboard import TensorBoard

__all__ = ["MLflow", "RayMetrics", "TensorBoard"]
