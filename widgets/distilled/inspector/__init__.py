"""The inspector of distilled images: where a network looks, crops, and the real images beside one."""
