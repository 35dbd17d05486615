"""Callbacks that show runs in the tools people watch them with: TensorBoard, MLflow, a Ray cluster's Prometheus."""

from distbp.tracking.mlflow import MLflow
from distbp.tracking.ray_metrics import RayMetrics
from distbp.tracking.tensorboard import TensorBoard

__all__ = ["MLflow", "RayMetrics", "TensorBoard"]
